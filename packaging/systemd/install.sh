#!/bin/sh
# Installs ChatGPT API Platform as a systemd service, upgrades it when run again, removes it with --remove.
set -eu

usage() {
    cat <<'END'
usage: install.sh [--executable FILE] [--key-file FILE]
       install.sh --remove [--keep-config]

Installs the service chatgpt-platform and starts it; run again, it upgrades, and keeps configuration and key.
It tries the program and checks the settings first: if something is wrong, nothing is changed.
The upstream's key comes from --key-file, else from $API_KEY, else from an earlier installation, else it is asked
for; without one, each caller must bring a key of its own. For $API_KEY write

    sudo --preserve-env=API_KEY ./install.sh

since every user of the machine can read what stands after sudo itself.

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
# What this run has made and takes away again.
made='' unpacked=''

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
    drop_staged
    [ -d "$folder" ] || made=$folder
    { mkdir -p "$folder" && chmod 755 "$folder"; } || fail "$folder cannot be made; see the line above"
    # The program unpacks itself there; in /tmp no program may be allowed to run.
    unpacked=$(mktemp -d "$folder/unpacked.XXXXXX") || fail "$folder cannot be written; see the line above"
    export TMPDIR="$unpacked"
    stage_program
    stage_config
    stage_key
    stage_unit
    check_settings
    # All or nothing.
    trap '' INT TERM
    place
    trap 'exit 130' INT TERM
    systemctl enable --quiet "$name" || fail "systemctl cannot enable $name; see the line above"
    # Not reload: a new program takes a new process. It comes back when the service is ready.
    systemctl restart "$name" 2>/dev/null || fail "$name does not start: $(reason)"
    printf '%s runs. Settings: %s (then: systemctl reload %s). Log: journalctl -u %s\n' \
        "$name" "$config" "$name" "$name"
}

tidy() {
    drop_staged
    [ -z "$unpacked" ] || rm -rf "$unpacked"
    [ -z "$made" ] || rmdir "$made" 2>/dev/null || true
}

# The new files stand beside those that they are to replace.
drop_staged() {
    rm -f "$program.new" "$config.new" "$key.new" "$unit.new"
}

reason() {
    journalctl --sync 2>/dev/null || true
    said=$(journalctl --quiet --output cat --identifier "$name" --lines 1 2>/dev/null) || said=''
    printf '%s (more: journalctl -u %s)' "${said:-no word from it}" "$name"
}

stage_program() {
    install -m 755 "$executable" "$program.new" || fail "$program.new cannot be written; see the line above"
    said=$("$program.new" version 2>&1) ||
        fail "$executable does not run on this machine ($(uname -m)): $(printf '%s' "$said" | tail -n 1)"
}

stage_config() {
    [ ! -e "$config" ] || return 0
    "$program.new" init "$config.new" >/dev/null || fail "$config.new cannot be written; see the line above"
    # In the file, not in the unit: the command `keys`, which knows nothing of the unit, finds it there too.
    sed -i "/^state:/,/directory:/s|  # directory: \"\"|  directory: /var/lib/$name|" "$config.new"
    # The service's own user reads it; the key stands in a file of its own.
    chmod 644 "$config.new"
}

stage_key() {
    [ -n "$given" ] || return 0
    # printf is the shell's own: the key is in no process listing.
    printf '%s\n' "$given" >"$key.new" || fail "$key.new cannot be written; see the line above"
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

stage_unit() {
    # Older ones know no back-off, and would complain of it at each start.
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    newer=''
    [ "${version:-0}" -ge 254 ] || newer='/^RestartSteps=/d; /^RestartMaxDelaySec=/d'
    sed "$newer" "$here/$name.service" >"$unit.new" || fail "$unit.new cannot be written; see the line above"
    chmod 644 "$unit.new"
}

check_settings() {
    settings=$config
    [ ! -e "$config.new" ] || settings=$config.new
    # As the service will see them: with nothing of this shell's environment.
    set -- "TMPDIR=$unpacked"
    if [ -e "$key.new" ]; then
        set -- "$@" "API_KEY_FILE=$key.new"
    elif [ -e "$key" ]; then
        set -- "$@" "API_KEY_FILE=$key"
    fi
    env -i "$@" "$program.new" check --config "$settings" >/dev/null ||
        fail "put right what is named above, then run this again; nothing was changed, the service was not restarted"
}

place() {
    for file in "$program" "$unit" "$config" "$key"; do
        [ ! -e "$file.new" ] || mv -f "$file.new" "$file" || fail "$file cannot be replaced; see the line above"
    done
    if [ -e "$key" ]; then
        # Also one that was put there by hand.
        chmod 600 "$key"
        rm -f "$no_key"
    elif [ ! -e "$no_key" ]; then
        { mkdir -p "$drop_ins" && chmod 755 "$drop_ins"; } || fail "$drop_ins cannot be made; see the line above"
        printf '[Service]\nLoadCredential=\nUnsetEnvironment=API_KEY_FILE\n' >"$no_key"
        chmod 644 "$no_key"
        echo "No key was given: each caller must bring one. Run this again with a key to set it."
    fi
    systemctl daemon-reload || fail "systemctl daemon-reload failed; see the line above"
}

remove() {
    if [ -e "$unit" ]; then
        systemctl disable --quiet --now "$name" || fail "$name cannot be stopped; see the line above"
    fi
    rm -f "$unit" "$program"
    drop_staged
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
