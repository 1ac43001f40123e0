# The broker as an image: `docker build -t broker .`
#
# Two stages: one with the toolchain, one with the binary. The builder's glibc is the runtime's.

FROM rust:1.95-slim-trixie AS build
WORKDIR /src

# A fifth of the size without line tables; a panic says its file and line all the same.
ENV CARGO_PROFILE_RELEASE_DEBUG=none

# The allocator is built by a makefile.
RUN apt-get update \
 && apt-get install -y --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*

# Dependencies first, under empty crates: this layer is built again only when a manifest or the
# lock file changes. What the empty crates left behind goes, or cargo would take it for up to date.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY crates/core/Cargo.toml crates/core/
COPY crates/bench/Cargo.toml crates/bench/
RUN mkdir -p src crates/core/src crates/bench/src \
 && touch src/lib.rs crates/core/src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs > crates/bench/src/main.rs \
 && cargo build --release --locked --bin broker \
 && cargo clean --release --package broker --package broker-core

COPY crates/core crates/core
COPY src src
COPY examples examples
RUN cargo build --release --locked --bin broker


FROM debian:trixie-slim

LABEL org.opencontainers.image.title="broker" \
      org.opencontainers.image.description="A sidecar that holds WebSockets, the streams they follow, and who is present" \
      org.opencontainers.image.licenses="MIT"

# Authorities to trust where the application is asked with TLS.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*

# A fixed id, so that `runAsUser`, volumes and audits can name it. No home, no shell, no password.
# A volume on /var/lib/broker is its own, for BROKER_STATE_DIR.
RUN groupadd --gid 10001 broker \
 && useradd --uid 10001 --gid broker --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin broker \
 && install --directory --owner=broker --group=broker --mode=0700 /var/lib/broker

COPY --from=build /src/target/release/broker /usr/local/bin/broker

USER 10001:10001

# A container's own loopback can't be reached from outside it. Bound to anything else, the broker
# starts only when told BROKER_PUBLIC=true: that decision stays with whoever runs it.
ENV BROKER_HOST=0.0.0.0

EXPOSE 8080
STOPSIGNAL SIGTERM

# bash opens the socket itself, so the image carries no HTTP client. 503 while stopping is unhealthy.
# Where TLS is spoken, the plain request gets a plain 400, which shows that someone is there.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["bash", "-c", "\
exec 3<>\"/dev/tcp/127.0.0.1/${BROKER_PORT:-8080}\" \
&& printf 'GET /health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 \
&& IFS= read -r status <&3 \
&& [[ $status == 'HTTP/1.'?' 200 '* || -n ${BROKER_TLS_CERT:-} && $status == 'HTTP/1.'?' 400 '* ]]"]

ENTRYPOINT ["broker"]
