# docker build --build-arg PLATFORM=linux-x64 -t randlora . — after `npm run release`, whose archive it unpacks.
FROM debian:12-slim
# The loader with which Vulkan drivers of the host are found, such as the NVIDIA container toolkit's.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libvulkan1=1.3.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 randlora \
    && install -d -o randlora /cache
ARG PLATFORM=linux-x64
ADD dist/release/randlora-*-${PLATFORM}.tar.gz /opt/
RUN ln -s /opt/randlora-*/randlora /usr/local/bin/randlora
USER 1000
WORKDIR /home/randlora
ENV HF_HOME=/cache/huggingface RANDLORA_CACHE=/cache/randlora NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics
VOLUME /cache
EXPOSE 8080
# The binary is Bun as well; a command that is not `serve` is not asked for its health.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["env", "BUN_BE_BUN=1", "randlora", "-e", "process.exit((await fetch('http://127.0.0.1:8080/health')).ok ? 0 : 1)"]
ENTRYPOINT ["randlora"]
CMD ["serve", "embedded", "--host", "0.0.0.0"]
