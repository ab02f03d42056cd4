# The image for users: compiled in a build stage. `docker build -t longhaul:local .`
# containers/Dockerfile.prebuilt makes the same image from a program that is built already.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package longhaul && containers/rootfs target/release/longhaul /rootfs

FROM scratch
COPY --from=build /rootfs /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /var/lib/longhaul
USER 10001:10001
EXPOSE 7700
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/usr/local/bin/longhaul", "health"]
ENTRYPOINT ["/usr/local/bin/longhaul"]
