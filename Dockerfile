# Two images, one binary each: docker build --target dnsproxy . (or --target dnsproxy-operator).
#
# The binaries are static, so the images start from nothing: no shell, no libc, no package to patch. The build is native to
# the platform asked for; `docker build --platform linux/arm64` compiles under emulation.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
ENV RUSTFLAGS="-C target-feature=+crt-static -C profile-use=/src/proxy/pgo.profdata"
# Naming the target keeps the static flag away from build scripts and macros, which cannot be linked so.
RUN target=$(uname -m)-unknown-linux-gnu \
 && cargo build --release --locked --target "$target" -p dnsproxy \
 && cargo build --release --locked --target "$target" -p dnsproxy-operator \
 && mkdir /out && cp "target/$target/release/dnsproxy" "target/$target/release/dnsproxy-operator" /out/

FROM scratch AS dnsproxy-operator
COPY --from=build /out/dnsproxy-operator /dnsproxy-operator
USER 65532:65532
ENTRYPOINT ["/dnsproxy-operator"]
CMD ["run"]

FROM scratch AS dnsproxy
COPY --from=build /out/dnsproxy /dnsproxy
USER 65532:65532
EXPOSE 53/udp 53/tcp
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s CMD ["/dnsproxy", "healthcheck"]
ENTRYPOINT ["/dnsproxy"]
# Port 53 needs no capability here: Docker lets every user of a container bind low ports.
CMD ["run", "--listen", "[::]:53"]
