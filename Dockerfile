# syntax=docker/dockerfile:1
# One file, three images: api, worker-cpu, worker-gpu.
#   docker build --target worker-cpu --tag medqueue-worker .

FROM python:3.11-slim AS base
ENV PATH=/opt/medqueue/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MEDQUEUE_DATA_DIR=/var/lib/medqueue
# Volumes mounted on these folders take over their owner and mode.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/medqueue --shell /usr/sbin/nologin medqueue \
    && install --directory --owner medqueue --group medqueue --mode 0700 \
        /var/lib/medqueue /var/lib/medqueue/blobs /var/lib/medqueue/cache /var/lib/medqueue/run
WORKDIR /var/lib/medqueue
STOPSIGNAL SIGTERM

FROM base AS build-cpu
RUN python -m venv /opt/medqueue
COPY requirements-cpu.lock /src/
RUN pip install --no-cache-dir --require-hashes -r /src/requirements-cpu.lock
COPY pyproject.toml README.md LICENSE /src/
COPY service /src/service
COPY workers /src/workers
COPY models /src/models
COPY migrations /src/migrations
RUN pip install --no-cache-dir --no-deps /src

# onnxruntime-gpu[cuda,cudnn]: the CUDA and cuDNN libraries come as wheels and are loaded from there (workers/cuda.py),
# so no LD_LIBRARY_PATH is needed; the driver comes from the host. Kernels that the driver compiles are kept on the volume
# of models, since the home folder cannot be written to.
FROM base AS build-gpu
RUN python -m venv /opt/medqueue
COPY requirements-gpu.lock /src/
RUN pip install --no-cache-dir --require-hashes -r /src/requirements-gpu.lock
COPY pyproject.toml README.md LICENSE /src/
COPY service /src/service
COPY workers /src/workers
COPY models /src/models
COPY migrations /src/migrations
RUN pip install --no-cache-dir --no-deps /src

FROM base AS api
COPY --from=build-cpu /opt/medqueue /opt/medqueue
USER medqueue
ENV MEDQUEUE_API_HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["medqueue", "health", "api"]
CMD ["python", "-m", "service.serving"]

FROM base AS worker-cpu
COPY --from=build-cpu /opt/medqueue /opt/medqueue
USER medqueue
ENV MEDQUEUE_WORKER_NAME=worker \
    MEDQUEUE_PROVIDER=cpu
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["medqueue", "health", "worker"]
CMD ["python", "-m", "celery", "-A", "workers.app", "worker", "--pool", "solo", "--queues", "score", "--without-gossip", "--without-mingle", "--without-heartbeat", "--hostname", "worker@%h", "--loglevel", "WARNING"]

FROM base AS worker-gpu
COPY --from=build-gpu /opt/medqueue /opt/medqueue
USER medqueue
ENV MEDQUEUE_WORKER_NAME=worker-gpu \
    MEDQUEUE_PROVIDER=cuda \
    CUDA_CACHE_PATH=/var/lib/medqueue/cache/cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["medqueue", "health", "worker"]
CMD ["python", "-m", "celery", "-A", "workers.app", "worker", "--pool", "solo", "--queues", "score", "--without-gossip", "--without-mingle", "--without-heartbeat", "--hostname", "worker-gpu@%h", "--loglevel", "WARNING"]
