// Builds the native library into this folder and the TypeScript layer into lib/.
//
// The examples are linked to it too, so that they import it as a user's code does.
//
// native.js and native.d.ts are generated and committed: a build fails when they differ from what it generates, and
// `npm run generate` writes them.

import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = dirname(dirname(fileURLToPath(import.meta.url)))
const release = process.argv.includes('--release')
const generate = process.argv.includes('--generate')
const out = join(process.env.CARGO_TARGET_DIR ?? join(folder, '..', 'target'), 'node')

function run(program, ...arguments_) {
  const { status, error } = spawnSync(process.execPath, [join(folder, 'node_modules', program), ...arguments_], {
    cwd: folder,
    stdio: 'inherit',
  })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
run(
  '@napi-rs/cli/dist/cli.js',
  'build',
  '--platform',
  '--format=esm',
  '--js=native.js',
  '--dts=native.d.ts',
  `--output-dir=${out}`,
  ...(release ? ['--release'] : []),
)

for (const name of ['native.js', 'native.d.ts']) {
  if (generate) {
    copyFileSync(join(out, name), join(folder, name))
  } else if (readFileSync(join(out, name), 'utf8') !== readFileSync(join(folder, name), 'utf8')) {
    console.error(`raptorflow-node/${name} is not what the build generates; run \`npm run generate\` and commit it`)
    process.exit(1)
  }
}

for (const name of readdirSync(out).filter((name) => name.endsWith('.node'))) {
  // Renamed into place: a process that runs with the old file keeps it.
  copyFileSync(join(out, name), join(folder, `${name}.new`))
  renameSync(join(folder, `${name}.new`), join(folder, name))
}

rmSync(join(folder, 'lib'), { recursive: true, force: true })
run('typescript/bin/tsc', '--project', 'tsconfig.json')

const modules = join(folder, '..', 'examples', 'node', 'node_modules')
if (!existsSync(join(modules, 'raptorflow'))) {
  mkdirSync(modules, { recursive: true })
  symlinkSync(folder, join(modules, 'raptorflow'), 'junction')
}
