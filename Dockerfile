# The server in a container: docker build -t videollama2 . (CPU), or with --build-arg DEVICE=cuda.
ARG DEVICE=cpu
FROM python:3.11-slim-bookworm

ARG DEVICE
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 \
    HF_HOME=/models HOME=/tmp OMP_NUM_THREADS=2

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
# torch comes from its own index: one build for CPUs, one that brings CUDA along.
RUN index=cpu && if [ "$DEVICE" = cuda ]; then index=cu130; fi \
    && pip install -c constraints.txt --extra-index-url "https://download.pytorch.org/whl/$index" torch \
    && pip install -c constraints.txt ".[serve]" \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin serve \
    && mkdir /models && chown serve /models

USER 10001
EXPOSE 8000
VOLUME ["/models"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["videollama2", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--model", "starter"]
