//! Compiles `proto/*.proto` with protox (a protobuf compiler in Rust), so that no `protoc` is needed.

const PROTOS: [&str; 4] =
    ["proto/handshake.proto", "proto/ping.proto", "proto/l4m.proto", "proto/l4m_vision.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    prost_build::Config::new().include_file("protocols.rs").compile_fds(descriptors)?;
    Ok(())
}
