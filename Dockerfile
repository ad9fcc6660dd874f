# docker build -t promptmq:latest --build-arg COMMIT=$(git rev-parse --short=12 HEAD) .
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH TARGETVARIANT COMMIT
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} \
	go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.linkedCommit=$COMMIT" -o /image/usr/local/bin/promptmq ./cmd/promptmq
# What the image has: the program, the authorities that it may have to trust, and its data.
RUN mkdir -p /image/app/data /image/etc/ssl/certs && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
	chown -R 65532:65532 /image/app && chmod 0750 /image/app/data

FROM scratch
COPY --from=build /image /
USER 65532:65532
# The data are in ./data if nothing else is said.
WORKDIR /app
VOLUME /app/data
EXPOSE 1883 8080 9090
HEALTHCHECK --interval=15s --timeout=6s --start-period=60s CMD ["/usr/local/bin/promptmq", "health"]
ENTRYPOINT ["/usr/local/bin/promptmq", "server"]
