#!/bin/sh
# What the tests need beside Python packages: a Chromium for the report page, the Fashion-MNIST files, a PostgreSQL.
# Usage: install-system-packages.sh PYTHON
set -eu
python=$1

have_chromium() { command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1; }
have_fashion() { [ -e /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ]; }
have_postgres() { command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

if have_chromium && have_fashion && have_postgres; then exit 0; fi

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium dataset-fashion-mnist postgresql >/dev/null
    exit 0
fi

# Not root, or not Debian: Playwright's own browser; the tests that need one of the others say that they were skipped.
have_chromium || "$python" -m playwright install chromium
