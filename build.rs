//! Compiles `proto/*.proto` with protox (a protobuf compiler in Rust), so that no `protoc` is needed; and three functions of C:
//! one keeps libzmq from ending the process (`native/accept.c`), one gives it listeners that are there already
//! (`native/listen.c`), one keeps memory where it is (`native/heap.c`).

const PROTOS: [&str; 4] =
    ["proto/handshake.proto", "proto/ping.proto", "proto/l4m.proto", "proto/l4m_vision.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    prost_build::Config::new().include_file("protocols.rs").compile_fds(descriptors)?;
    stand_between_zeromq_and_the_kernel();
    keep_one_heap();
    Ok(())
}

/// For the binaries of this package; a program that embeds the library passes the two link arguments itself if it wants
/// the same. (What is linked without the library, as some benchmarks are, would miss the function.)
fn stand_between_zeromq_and_the_kernel() {
    for file in ["native/accept.c", "native/listen.c"] {
        println!("cargo::rerun-if-changed={file}");
    }
    // whole: the calls to it stand in a library that the linker reads later
    cc::Build::new()
        .files(["native/accept.c", "native/listen.c"])
        .link_lib_modifier("+whole-archive")
        .compile("symphony_sockets");
    for function in ["accept", "accept4", "bind"] {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
}

/// For the binaries alone: how a program that embeds the library keeps its memory is its own business.
fn keep_one_heap() {
    println!("cargo::rerun-if-changed=native/heap.c");
    for object in cc::Build::new().file("native/heap.c").compile_intermediates() {
        println!("cargo::rustc-link-arg-bins={}", object.display());
    }
}
