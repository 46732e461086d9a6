//! Compiles the .proto files without `protoc`, and keeps their descriptors for server reflection.

use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 4] = ["types", "records", "admin", "cluster"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = FILES.map(|name| format!("cairn/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=cairn");
    Ok(())
}
