#!/bin/sh
# Starts the window. Chromium ends itself as root before any code of the program runs, by a trap and with the advice to
# do without its sandbox; so what root needs to know is said here. The process stays the same one.
if [ "$(id -u)" = 0 ]; then
  echo 'pinscope: the window does not run as root; start it as yourself and grant access to pages inside, or run the terminal program as root' >&2
  exit 1
fi
exec "$(dirname "$(readlink -f "$0")")/pinscope-window" "$@"
