# The service: docker build -t recgan . ; see docs/serving.md.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/recgan
ENV PATH=/opt/recgan/bin:$PATH
# On CPU; for CUDA: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.11" "torchvision>=0.26"
COPY pyproject.toml README.md LICENSE ./
COPY recgan recgan
COPY service service
RUN pip install --no-cache-dir ".[postgres,otel]"

FROM python:3.11-slim
# libgomp: torch, faiss and implicit compute with it
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home recgan
COPY --from=build /opt/recgan /opt/recgan
ENV PATH=/opt/recgan/bin:$PATH RECGAN_SERVICE_LOG_FORMAT=json
USER recgan
WORKDIR /home/recgan
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["recgan"]
CMD ["serve", "--host", "0.0.0.0"]
