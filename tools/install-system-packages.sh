#!/bin/sh
# What the tests need beside Python packages: a Chromium for the report page and the Fashion-MNIST files.
# Usage: install-system-packages.sh PYTHON
set -eu
python=$1

have_chromium() { command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; }
have_fashion() { [ -e /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ]; }

if have_chromium && have_fashion; then exit 0; fi

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium dataset-fashion-mnist >/dev/null
    exit 0
fi

# Not root, or not Debian: Playwright's own browser; the Fashion-MNIST test says that it was skipped.
have_chromium || "$python" -m playwright install chromium
