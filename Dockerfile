# One image for all roles (fetcher, worker, optimizer, exchange); the command selects the role.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/tradeschool \
 && /opt/tradeschool/bin/python -m pip install --no-cache-dir --quiet --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY tradeschool tradeschool
COPY fetcher fetcher
COPY optimizer optimizer
COPY workers workers
RUN /opt/tradeschool/bin/python -m pip install --no-cache-dir --quiet --no-deps --no-build-isolation .

FROM ${BASE}
RUN useradd --uid 10001 --create-home --home-dir /var/lib/tradeschool tradeschool
COPY --from=build /opt/tradeschool /opt/tradeschool
ENV PATH=/opt/tradeschool/bin:$PATH PYTHONUNBUFFERED=1
# Compile for the processor that builds the image, into the package folder, which every user can read. On another
# processor, a worker compiles once and stores the result in its home folder.
RUN tradeschool compile
USER 10001
WORKDIR /var/lib/tradeschool
# A worker finishes its running trial before it stops: set a stop timeout above work.trial_timeout_seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s CMD ["tradeschool", "config", "validate"]
ENTRYPOINT ["tradeschool"]
CMD ["--help"]
