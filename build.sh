#!/bin/sh
# ./build.sh build | build-all | test | dev | install: names for targets of the Makefile.
cd "$(dirname "$0")" || exit 1
case "$1" in
build | test | dev | install) exec make "$@" ;;
build-all) exec make release ;;
esac
echo "usage: $0 build | build-all | test | dev | install" >&2
exit 2
