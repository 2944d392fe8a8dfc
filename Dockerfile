# One image for every role: fetcher, worker, optimizer, exchange. The command decides.
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
# For the processor that builds the image, beside the sources, where every user can read it. On another processor a worker
# compiles once and keeps the result in its own home folder.
RUN tradeschool compile
USER 10001
WORKDIR /var/lib/tradeschool
# A worker ends its running trial before it stops: give it longer than a trial may take (work.trial_timeout_seconds).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s CMD ["tradeschool", "config", "validate"]
ENTRYPOINT ["tradeschool"]
CMD ["--help"]
