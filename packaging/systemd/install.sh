#!/bin/sh
# Installs ChatGPT API Platform as a systemd service, upgrades it when run again, removes it with --remove.
set -eu

usage() {
    cat <<'END'
usage: install.sh [--executable FILE] [--key-file FILE]
       install.sh --remove [--keep-config]

Installs the service chatgpt-platform and starts it; run again, it upgrades, and keeps configuration and key.
The upstream's key comes from --key-file, else from $API_KEY, else it is asked for; without one, each caller
must bring a key of its own.

  --executable FILE  the program (default: chatgpt-platform beside this script)
  --key-file FILE    a file that holds the key; - reads it from standard input
  --remove           stop the service and remove all of it: program, configuration, key, logs, state
  --keep-config      with --remove: leave the configuration and the key
END
}

name=chatgpt-platform
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
program=/usr/local/bin/$name
unit=/etc/systemd/system/$name.service
drop_ins=$unit.d
no_key=$drop_ins/no-key.conf
folder=/etc/$name
config=$folder/chatgpt.yaml
key=$folder/api_key

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

main() {
    remove=no keep_config=no executable=$here/$name key_file=''
    while [ $# -gt 0 ]; do
        case $1 in
        --executable | --key-file)
            [ $# -gt 1 ] || fail "$1 needs a file after it (see --help)" 2
            if [ "$1" = --executable ]; then executable=$2; else key_file=$2; fi
            shift
            ;;
        --remove) remove=yes ;;
        --keep-config) keep_config=yes ;;
        -h | --help) usage && exit ;;
        # Not repeated: it may be a key.
        *) fail "an unknown option was given (see --help); a key never belongs on the command line" 2 ;;
        esac
        shift
    done
    [ "$keep_config" = no ] || [ "$remove" = yes ] || fail "--keep-config goes with --remove" 2
    [ "$(id -u)" = 0 ] || fail "must be run as root: try it with sudo"
    [ -d /run/systemd/system ] || fail "systemd does not run this machine: start $name serve by other means"
    if [ "$remove" = yes ]; then remove; else install_all; fi
}

install_all() {
    [ -f "$executable" ] || fail "$executable: no such file; name the program with --executable FILE"
    [ -f "$here/$name.service" ] || fail "$here/$name.service: no such file; it belongs beside this script"
    given=$(read_key) || exit 1
    unset API_KEY
    [ -n "$given" ] || [ -z "$key_file" ] || fail "the file that --key-file names is empty"
    # What all may read is made so below, by name.
    umask 077
    trap tidy EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$folder" && chmod 755 "$folder"
    # The program unpacks itself there; in /tmp no program may be allowed to run.
    TMPDIR=$(mktemp -d "$folder/unpacked.XXXXXX")
    export TMPDIR
    place_program
    place_config
    place_key
    place_unit
    check_settings
    systemctl enable --quiet "$name" || fail "systemctl cannot enable $name; see the line above"
    # Not reload: a new program takes a new process. It comes back when the service is ready.
    systemctl restart "$name" 2>/dev/null || fail "$name does not start: $(reason)"
    printf '%s runs. Settings: %s (then: systemctl reload %s). Log: journalctl -u %s\n' \
        "$name" "$config" "$name" "$name"
}

tidy() {
    rm -rf "$TMPDIR" "$program.new"
    rmdir "$folder" 2>/dev/null || true
}

reason() {
    journalctl --sync 2>/dev/null || true
    said=$(journalctl --quiet --output cat --identifier "$name" --lines 1 2>/dev/null) || said=''
    printf '%s (more: journalctl -u %s)' "${said:-no word from it}" "$name"
}

place_program() {
    install -m 755 "$executable" "$program.new" || fail "$program.new cannot be written; see the line above"
    said=$("$program.new" version 2>&1) ||
        fail "$executable does not run on this machine ($(uname -m)): $(printf '%s' "$said" | tail -n 1)"
    mv -f "$program.new" "$program"
}

place_config() {
    [ -e "$config" ] && return
    "$program" init "$config" >/dev/null || fail "$config could not be written; see the line above"
    # The service's own user reads it; the key stands in a file of its own.
    chmod 644 "$config"
}

place_key() {
    if [ -n "$given" ]; then
        # printf is the shell's own: the key is in no process listing.
        printf '%s\n' "$given" >"$key.new"
        mv -f "$key.new" "$key"
        rm -f "$no_key"
    elif [ ! -e "$key" ] && [ ! -e "$no_key" ]; then
        mkdir -p "$drop_ins" && chmod 755 "$drop_ins"
        printf '[Service]\nLoadCredential=\nUnsetEnvironment=API_KEY_FILE\n' >"$no_key"
        chmod 644 "$no_key"
        echo "No key was given: each caller must bring one. Run this again with a key to set it."
    fi
    given=''
}

read_key() {
    if [ "$key_file" = - ]; then
        cat
    elif [ -n "$key_file" ]; then
        cat -- "$key_file" 2>/dev/null || fail "the file that --key-file names cannot be read"
    elif [ -n "${API_KEY:-}" ]; then
        printf '%s' "$API_KEY"
    elif [ ! -e "$key" ] && [ ! -e "$no_key" ] && [ -t 0 ]; then
        trap 'stty echo </dev/tty' EXIT
        stty -echo </dev/tty
        trap 'exit 130' INT TERM
        printf "The upstream's key (not shown; empty: each caller brings its own): " >/dev/tty
        read -r answer || answer=''
        echo >/dev/tty
        printf '%s' "$answer"
    fi
}

place_unit() {
    # Older ones know no back-off, and would complain of it at each start.
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    if [ "${version:-0}" -lt 254 ]; then
        sed '/^RestartSteps=/d; /^RestartMaxDelaySec=/d' "$here/$name.service" >"$unit.new"
    else
        cat "$here/$name.service" >"$unit.new"
    fi
    chmod 644 "$unit.new"
    mv -f "$unit.new" "$unit"
    systemctl daemon-reload || fail "systemctl daemon-reload failed; see the line above"
}

check_settings() {
    # As the service sees them: with nothing of this shell's environment.
    set -- "TMPDIR=$TMPDIR"
    [ -e "$no_key" ] || set -- "$@" "API_KEY_FILE=$key"
    env -i "$@" "$program" check --config "$config" >/dev/null ||
        fail "put right what is named above, then run this again; the service was not restarted"
}

remove() {
    if [ -e "$unit" ]; then
        systemctl disable --quiet --now "$name" || fail "$name cannot be stopped; see the line above"
    fi
    rm -f "$unit" "$unit.new" "$program" "$program.new"
    systemctl daemon-reload
    systemctl reset-failed "$name" 2>/dev/null || true
    for place in /var/lib /var/cache /var/log; do
        # The private ones are what a dynamic user gets; the others are links to them.
        rm -rf "${place:?}/$name" "${place:?}/private/$name"
    done
    if [ "$keep_config" = yes ]; then
        echo "$name is removed; its configuration and key are still in $folder"
    else
        rm -rf "$folder" "$drop_ins"
        echo "$name is removed."
    fi
}

main "$@"
