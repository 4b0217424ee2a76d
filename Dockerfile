# The page in a container, with what serving needs and nothing else. tests/systems/test_container.py takes these steps in
# a virtual environment where no container engine runs.
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/detector
COPY requirements-serve.lock ./
RUN /opt/detector/bin/pip install --no-cache-dir --require-hashes -r requirements-serve.lock
COPY . .
RUN /opt/detector/bin/pip install --no-cache-dir --no-deps .
# Headers, tests and notebook extensions of other people's packages; nothing here compiles, tests or is a notebook.
RUN find /opt/detector/lib/python3.*/site-packages -depth -type d \
    \( -path '*/pyarrow/include' -o -path '*/pyarrow/tests' -o -path '*/pandas/tests' -o -path '*/numpy/*/tests' \
    -o -path '*/scipy/*/tests' -o -path '*/labextension' \) -exec rm -rf {} +

FROM python:3.12-slim
COPY --from=build /opt/detector /opt/detector
# The root file system is read-only: what a program wants to keep for a while goes to /tmp, which is in memory.
ENV PATH=/opt/detector/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp DETECTOR_CACHE=/tmp/detector
USER 10001:10001
WORKDIR /tmp
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["cxr-detector"]
# Loopback inside the container is the container's own. compose.yaml publishes the port on the host's loopback alone.
CMD ["app", "--no-browser", "--address", "0.0.0.0"]
