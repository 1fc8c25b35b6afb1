# Symphony in a container: process 1, as a user without rights. docs/operations.md tells how to run it.
#
#   docker build -t symphony .
#
# An image for models adds their servers and a configuration:
#
#   FROM symphony
#   COPY --from=… /usr/local/bin/llama-server /usr/local/bin/
#   COPY symphony.toml /etc/symphony/symphony.toml

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
# the toolchain of the image, whatever rust-toolchain.toml would fetch
RUN RUSTUP_TOOLCHAIN=$RUST_VERSION cargo build --release --locked --bin symphony --bin symphony-heart

FROM debian:bookworm-slim
# libzmq is C++ and in the binary; its runtime library is not
RUN apt-get update \
    && apt-get install -y --no-install-recommends libstdc++6 ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# side by side: process 1 becomes the small one
COPY --from=build /build/target/release/symphony /build/target/release/symphony-heart /usr/local/bin/
COPY packaging/container/symphony.toml /etc/symphony/symphony.toml
# by number, so that an engine can see that it is not root
RUN groupadd --gid 10001 symphony \
    && useradd --uid 10001 --gid symphony --home-dir /var/lib/symphony --shell /usr/sbin/nologin symphony \
    && install -d -o symphony -g symphony -m 0700 /run/symphony /var/lib/symphony
USER 10001:10001
WORKDIR /var/lib/symphony
# sockets that clients in other containers share, and logs that outlive the container
VOLUME ["/run/symphony", "/var/lib/symphony"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 \
    CMD ["symphony", "status", "--timeout", "5s"]
ENTRYPOINT ["symphony"]
CMD ["start-service"]
