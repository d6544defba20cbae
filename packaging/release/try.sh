#!/bin/sh
# Tries an executable on a machine that has nothing else: sh try.sh ./chatgpt-platform
# It needs a shell and kill, no Python and no curl. Exit 0 if all of it worked; the last line says so.
set -eu
program=$1
port=${2:-5055}
url=http://127.0.0.1:$port
folder=$(mktemp -d)
server=

leave() {
    status=$?
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
        kill -9 "$server"
    fi
    if [ "$status" -ne 0 ]; then
        echo "$program: something did not work, see above; the server said:" >&2
        tail -n 20 "$folder/server" >&2 || true
    fi
    rm -rf "$folder" || true # on Windows the gateway may still have a file of it open
    exit "$status"
}
trap leave EXIT

"$program" version
"$program" version --licenses >"$folder/licenses"
grep -q 'GNU GENERAL PUBLIC LICENSE' "$folder/licenses"
grep -q 'PYTHON SOFTWARE FOUNDATION LICENSE' "$folder/licenses"
"$program" init "$folder/chatgpt.yaml" >/dev/null
"$program" check --config "$folder/chatgpt.yaml" >/dev/null

"$program" serve --demo --host 127.0.0.1 --port "$port" >"$folder/server" 2>&1 &
server=$!
tries=0
until "$program" healthcheck --url "$url" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ] || ! kill -0 "$server" 2>/dev/null; then
        echo "$url is not ready" >&2
        exit 1
    fi
    sleep 1
done
"$program" ask --url "$url" "Say hello" >"$folder/answer"
grep -q . "$folder/answer"
"$program" ask --url "$url" --stream "Say hello" >"$folder/streamed"
grep -q . "$folder/streamed"

kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
case $(uname -s) in
    *_NT-*) ;; # there, kill ends a program at once
    *) [ "$code" -eq 0 ] || { echo "exit code $code after SIGTERM" >&2; exit 1; } ;;
esac
echo "$program: all of it worked"
