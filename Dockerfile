# The node as a container: one static program, its user and its data directory; no shell, no other file.
#   docker build -t dnsmesh-node .
# dist/image-root lays the content out and tests/packaging/image runs it in an empty root, without an engine.
FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install --no-install-recommends -y musl-tools=1.2.3-* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN dist/build-static \
    && dist/image-root "target/$(uname -m)-unknown-linux-musl/dist/dnsmesh" /image

FROM scratch
LABEL org.opencontainers.image.title="dnsmesh-node" \
      org.opencontainers.image.description="A node of the DNS Mesh Protocol" \
      org.opencontainers.image.source="https://github.com/dnsmesh/dnsmesh" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image /
# Inside a container loopback is the container; whatever is published is decided outside.
ENV DMP_DB_PATH=/var/lib/dmp/dmp.db \
    DMP_DNS_HOST=0.0.0.0
USER 10001:10001
VOLUME ["/var/lib/dmp"]
EXPOSE 5353/udp 5353/tcp 8053/tcp
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/bin/dnsmesh", "node", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/dnsmesh"]
CMD ["node"]
