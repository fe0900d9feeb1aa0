FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY . /src
RUN python -m venv /opt/ringlog && /opt/ringlog/bin/pip install --no-cache-dir "/src[kafka,postgresql]"

FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libopus0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/ringlog /opt/ringlog
ENV PATH=/opt/ringlog/bin:$PATH
RUN useradd --system --home-dir /var/lib/ringlog --create-home ringlog
USER ringlog
VOLUME /var/lib/ringlog
ENTRYPOINT ["pbx"]
CMD ["serve"]
