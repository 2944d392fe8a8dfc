# One image for all roles (fetcher, coordinator, worker, page); the command selects the role.
# scripts/image builds and tests it without a registry of images, on a base of Debian's packages.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
SHELL ["/bin/sh", "-eu", "-c"]
WORKDIR /src
# pip is not part of the image: another environment installs the packages. `pip` and `certificates` are optional
# secrets for an index of your own; neither is stored in a layer.
RUN python3 -m venv /opt/installer && python3 -m venv --without-pip /opt/tradeschool
COPY requirements.lock requirements-sbom.lock ./
RUN --mount=type=secret,id=pip --mount=type=secret,id=certificates \
    if [ -e /run/secrets/pip ]; then export PIP_CONFIG_FILE=/run/secrets/pip; fi; \
    if [ -e /run/secrets/certificates ]; then export PIP_CERT=/run/secrets/certificates; fi; \
    pip="/opt/installer/bin/python -m pip --disable-pip-version-check --no-cache-dir --quiet"; \
    $pip --python /opt/tradeschool/bin/python install --require-hashes -r requirements.lock; \
    $pip install --no-compile --require-hashes -r requirements-sbom.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY tradeschool tradeschool
COPY fetcher fetcher
COPY optimizer optimizer
COPY workers workers
RUN /opt/installer/bin/python -m pip --disable-pip-version-check --no-cache-dir --quiet \
    --python /opt/tradeschool/bin/python install --no-deps --no-build-isolation --no-index .
# The software bill of materials lists what is installed, not what might be.
RUN mkdir -p /opt/tradeschool/share/sbom \
 && /opt/installer/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
    --output-file /opt/tradeschool/share/sbom/tradeschool.cdx.json /opt/tradeschool/bin/python

FROM ${BASE}
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/tradeschool --shell /usr/sbin/nologin tradeschool
COPY --from=build /opt/tradeschool /opt/tradeschool
ENV PATH=/opt/tradeschool/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib
# Compile for the processor that builds the image, into the package folder, which every user can read. On another
# processor, a worker compiles once and stores the result in its home folder.
RUN tradeschool compile
# The root file system may be read-only: the program writes to this folder and to /tmp only.
USER 10001:10001
WORKDIR /var/lib/tradeschool
# A worker finishes its running trial before it stops: set a stop timeout above work.trial_timeout_seconds.
STOPSIGNAL SIGTERM
# Of a worker, from local heartbeats. Other roles replace it, see compose.yaml.
HEALTHCHECK --interval=30s --timeout=20s --start-period=120s CMD ["tradeschool", "worker", "health"]
LABEL org.opencontainers.image.title="tradeschool" org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.description="Candles, parameter searches with any number of workers, and tests for overfitting"
ENTRYPOINT ["tradeschool"]
CMD ["--help"]
