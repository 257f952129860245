# Holdfast in one image. `docker build .` makes the distroless one, `--target ubi` the one on Red Hat's base.
#
#   docker build -t holdfast --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run --read-only --user 123456:0 --cap-drop ALL -v data:/data -p 9000:9000 \
#     -e HOLDFAST_ROOT_ACCESS_KEY=root -e HOLDFAST_ROOT_SECRET_KEY="$(openssl rand -hex 24)" holdfast server
#
# What the bases are pinned to: Rust and UBI to the tag of one version, which their makers may still build anew; distroless to
# nothing, its `nonroot` moves with every update of Debian 12. None is pinned by digest. For a build that can be repeated pin
# all three: --build-arg DISTROLESS_IMAGE=gcr.io/distroless/cc-debian12@sha256:… (`docker buildx imagetools inspect TAG`).
# Moves: gcr.io/distroless/cc-debian12:nonroot

ARG RUST_IMAGE=docker.io/library/rust:1.99.1-slim-bookworm
ARG DISTROLESS_IMAGE=gcr.io/distroless/cc-debian12:nonroot
ARG UBI_IMAGE=registry.access.redhat.com/ubi9/ubi-micro:9.6

FROM ${RUST_IMAGE} AS build
# The allocator is built by its own configure and make; the image has a C compiler and no make.
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY rust-toolchain.toml Cargo.toml Cargo.lock ./
COPY src src
COPY wire wire
COPY replica replica
COPY gateway gateway
COPY tests tests
COPY fuzz fuzz
COPY docs/configuration.md docs/configuration.md
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --release --locked -p holdfast \
    && mkdir -p /out/data && cp /target/release/holdfast /out/holdfast \
    && strip --strip-debug /out/holdfast

FROM scratch AS root
COPY --from=build --chmod=0555 /out/holdfast /usr/bin/holdfast
COPY LICENSE /licenses/LICENSE
# Group 0 may write, so that an arbitrary user id with group 0 (OpenShift's restricted-v2) can.
COPY --from=build --chown=1001:0 --chmod=0770 /out/data /data

FROM ${UBI_IMAGE} AS ubi
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL name="holdfast" vendor="Holdfast" version="${VERSION}" release="${REVISION}" \
      summary="S3 for Kubernetes and OpenShift" \
      description="S3 for Kubernetes and OpenShift that never acknowledges what it could lose" \
      io.k8s.display-name="Holdfast" \
      io.k8s.description="S3 for Kubernetes and OpenShift that never acknowledges what it could lose" \
      io.openshift.tags="s3,object-storage" \
      org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/holdfast-s3/holdfast"
COPY --from=root / /
ENV HOLDFAST_DATA=/data
WORKDIR /data
USER 1001:0
EXPOSE 9000 9001 9002 9003
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/bin/holdfast", "health"]
ENTRYPOINT ["/usr/bin/holdfast"]
CMD ["server"]

FROM ${DISTROLESS_IMAGE} AS final
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.description="S3 for Kubernetes and OpenShift that never acknowledges what it could lose" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/holdfast-s3/holdfast"
COPY --from=root / /
ENV HOLDFAST_DATA=/data
WORKDIR /data
USER 1001:0
EXPOSE 9000 9001 9002 9003
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/bin/holdfast", "health"]
ENTRYPOINT ["/usr/bin/holdfast"]
CMD ["server"]
