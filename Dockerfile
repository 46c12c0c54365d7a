# The image of the operator and the CLI. Offline but for the base's apt: Python packages come from wheelhouse/, made by
#   pip wheel --require-hashes -r requirements/runtime.txt -w wheelhouse && pip wheel --no-deps . -w wheelhouse
# with the base's Python (bookworm: 3.11), because wheels of another Python do not fit. Hashes are checked there.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
# softhsm2: the module and softhsm2-util. Its own /etc/softhsm is not read: SOFTHSM2_CONF names the file.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 softhsm2 \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
 && groupadd --gid 65532 keystead \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin keystead

FROM base AS packages
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY wheelhouse /wheelhouse
# pip and setuptools do not enter the image: nothing installs there. Bytecode is compiled now: the root is read-only.
RUN python3 -m venv /opt/keystead \
 && /opt/keystead/bin/pip install --no-index --no-deps --no-cache-dir --disable-pip-version-check /wheelhouse/*.whl \
 && /opt/keystead/bin/pip check \
 && /opt/keystead/bin/pip uninstall --yes setuptools pip \
 && /opt/keystead/bin/keystead --help > /dev/null

FROM base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="keystead" \
      org.opencontainers.image.description="A self-hosted key management service for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=packages /opt/keystead /opt/keystead
ENV PATH=/opt/keystead/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number: runAsNonRoot cannot be checked against a name.
USER 65532:65532
WORKDIR /tmp
# Kubernetes has probes; a health check of the image would run beside them.
HEALTHCHECK NONE
ENTRYPOINT ["keystead"]
