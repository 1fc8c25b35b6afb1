//! Compiles `proto/*.proto` with protox (a protobuf compiler in Rust), so that no `protoc` is needed; and the one
//! function of C that keeps libzmq from ending the process (`native/accept.c` tells why).

const PROTOS: [&str; 4] =
    ["proto/handshake.proto", "proto/ping.proto", "proto/l4m.proto", "proto/l4m_vision.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    prost_build::Config::new().include_file("protocols.rs").compile_fds(descriptors)?;
    forgive_full_descriptor_tables();
    Ok(())
}

/// For the binaries of this package; a program that embeds the library passes the two link arguments itself if it wants
/// the same. (What is linked without the library, as some benchmarks are, would miss the function.)
fn forgive_full_descriptor_tables() {
    println!("cargo::rerun-if-changed=native/accept.c");
    // whole: the calls to it stand in a library that the linker reads later
    cc::Build::new()
        .file("native/accept.c")
        .link_lib_modifier("+whole-archive")
        .compile("symphony_accept");
    for function in ["accept", "accept4"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
}
