// Promises that only JavaScript settles: by themselves they do not keep a process alive, and the library does not either.

/** Keeps the process alive until a promise is settled, and gives what it gives. */
export async function held(promise) {
  const hold = setInterval(() => {}, 60_000)
  try {
    return await promise
  } finally {
    clearInterval(hold)
  }
}
