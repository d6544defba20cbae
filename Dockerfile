# The image: one executable on a base without a shell. See "Run it with Docker Compose" in README.md.
#
#     docker build -t chatgpt-platform --build-arg COMMIT="$(git rev-parse --short=12 HEAD)" .
#
# Both bases are arguments, so that a mirror, or a digest (NAME@sha256:...), can be given in their place. The
# packages come from pip's usual index, or from the one that PIP_INDEX_URL names.
ARG BUILD_IMAGE=python:3.11-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# Read by pip where it is given.
ARG PIP_INDEX_URL
# The commit that `chatgpt-platform version` tells: .git is not sent to the build.
ARG COMMIT=unknown
RUN python3 scripts/build.py && mkdir -p /image/logs && mkdir -m 700 /image/state

FROM ${RUNTIME_IMAGE}
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="chatgpt-platform" \
      org.opencontainers.image.description="Share one OpenAI-compatible model service with a group." \
      org.opencontainers.image.licenses="GPL-3.0-or-later" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /src/dist/chatgpt-platform /chatgpt-platform
# For a start as 65532, and for named volumes, which take this owner over.
COPY --from=build --chown=65532:65532 /image/logs /app/logs
COPY --from=build --chown=65532:65532 /image/state /app/state
WORKDIR /app
# The drain ends within the 10 s that Docker waits before it kills.
ENV CHATGPT_LOGGING__DIRECTORY=/app/logs \
    CHATGPT_STATE__DIRECTORY=/app/state \
    CHATGPT_SERVER__USER=65532:65532 \
    CHATGPT_SERVER__TIMEOUTS__DRAIN=8s
# Root only to make bind-mounted /app/logs and /app/state, which Docker makes as root, belong to 65532; then 65532
# serves, with no way back. With --user 65532:65532 nothing is ever root.
USER 0
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["/chatgpt-platform", "healthcheck"]
ENTRYPOINT ["/chatgpt-platform"]
CMD ["serve"]
