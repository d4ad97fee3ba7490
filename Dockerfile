# syntax=docker/dockerfile:1
# One image for every process of the server mode; the command names the process. Runs as user 10001, needs no
# writable root file system: only /keys (a volume) and /run/truyvet (in memory).
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/truyvet
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY events ./events
COPY keys ./keys
COPY storage ./storage
COPY ingest ./ingest
COPY projections ./projections
COPY tracing ./tracing
COPY truyvet ./truyvet
COPY app ./app
COPY loadtests ./loadtests
# Without the `embedded` extra: stream and store are servers of their own here.
RUN /opt/truyvet/bin/pip install '.[export]' \
    && /opt/truyvet/bin/pip uninstall --yes pip \
    && python -m compileall -q /opt/truyvet/lib

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Truyvet" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 truyvet \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /run/truyvet --shell /usr/sbin/nologin truyvet \
    && install --directory --owner 10001 --group 10001 --mode 0700 /keys /people /run/truyvet
COPY --from=build /opt/truyvet /opt/truyvet
ENV PATH=/opt/truyvet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRUYVET_DATA_DIR=/run/truyvet \
    TRUYVET_KEY_FILE=/keys/keys.json \
    TRUYVET_LOG_FORMAT=json
USER 10001:10001
WORKDIR /run/truyvet
VOLUME /keys /people
STOPSIGNAL SIGTERM
ENTRYPOINT ["truyvet"]
CMD ["--help"]
