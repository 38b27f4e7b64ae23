# The example as an image of its own: one static binary and nothing else, no shell, no libc.
#
# Build the binary first, then the image:
#
#   RUSTFLAGS='-C target-feature=+crt-static' cargo build --release \
#     --target x86_64-unknown-linux-gnu --example download
#   docker build --tag cratetorrent .
#
# Download (arguments work as well: append them to the line):
#
#   docker run --rm --env METAINFO_PATH=/in/some.torrent --env SEED=host:6881,host2:6881 \
#     --mount type=bind,src="$PWD",dst=/in,readonly \
#     --mount type=bind,src="$PWD/downloads",dst=/downloads cratetorrent
#
# `docker stop` ends it in order: the state is saved, and the same line goes on from there. With
# neither environment nor arguments it shows itself at work within the container.
FROM scratch
COPY target/x86_64-unknown-linux-gnu/release/examples/download /download
ENV DOWNLOAD_DIR=/downloads
VOLUME /downloads
WORKDIR /downloads
ENTRYPOINT ["/download"]
