//! Sets up linking against the Node-API of whichever process loads the library.

fn main() {
    napi_build::setup();
}
