//! Says at compile time whether the corpora lie beside the checkout, so that a test that reads them shows as ignored.

use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(shared_data)");
    println!("cargo::rerun-if-changed=../../shared/data/README.md");
    if Path::new("../../shared/data/README.md").is_file() {
        println!("cargo::rustc-cfg=shared_data");
    }
}
