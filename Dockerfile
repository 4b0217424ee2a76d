# The page in a container, with what serving needs and nothing else. tests/systems/test_container.py takes these steps in
# a virtual environment where no container engine runs.
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/detector
COPY requirements-serve.lock ./
RUN /opt/detector/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements-serve.lock
COPY . .
RUN /opt/detector/bin/pip install --no-cache-dir --no-compile --no-deps .
# What serves nothing here: what Streamlit asks for to show data frames, maps and diagrams, of which the page has none; tests,
# headers, maps of scripts; Plotly's script, of which Streamlit has its own; Pillow's AVIF; the parts of LiteRT and GDCM that
# talk to graphics processors or are there twice. pip goes last.
RUN /opt/detector/bin/pip uninstall --quiet --yes pandas pyarrow altair pydeck && \
    cd /opt/detector/lib/python3.*/site-packages && rm -rf /opt/detector/share \
    plotly/labextension plotly/package_data/*.js PIL/_avif.*.so pillow.libs/libavif-*.so* \
    streamlit/static/static/js/DeckGlJsonChart.*.js streamlit/static/static/js/EChartsChart.*.js \
    streamlit/static/static/js/elk-*.js \
    ai_edge_litert/tools ai_edge_litert/vendors ai_edge_litert/libLiteRtWebGpuAccelerator.so && \
    find . -depth \( -type d -name tests -o -name '*.map' -o -name '*.pyi' -o -name '*.pxd' -o -name '*.pyx' \
    -o -path './_gdcm/libgdcm*.so.*.*.*' -o -path './_gdcm/libgdcm*.so' \) -exec rm -rf {} + && \
    /opt/detector/bin/pip uninstall --quiet --yes setuptools pip
# The root file system is read-only, so bytecode is written now, and for what is used alone: the server, the pages, a run and
# what DICOM needs. It also shows that nothing is missing.
RUN cd /opt/detector/lib/python3.*/site-packages && \
    /opt/detector/bin/python -m compileall -q streamlit starlette uvicorn anyio websockets h11 click watchdog
RUN /opt/detector/bin/python -P -c "import detector.cli.main, detector.report.dicom, detector.report.pdf, \
    detector.pacs.node, detector.pacs.web; from streamlit.testing.v1 import AppTest; \
    pages = [AppTest.from_string(f'from detector.ui import {page} as p; p.render()', default_timeout=120).run() \
    for page in ('room', 'quality', 'blind')]; assert not any(page.exception for page in pages)" && \
    /opt/detector/bin/cxr-detector predict --explain --out "$(mktemp -d)" /source/assets/composites

FROM python:3.12-slim
COPY --from=build /opt/detector /opt/detector
# The base image brings the standard library without its bytecode.
RUN python -m compileall -q -x '/(test|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pydoc_data|site-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
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
