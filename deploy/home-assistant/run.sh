#!/bin/sh
# Makes the configuration and the users of the broker from the options of the add-on, and becomes
# the broker. Home Assistant keeps /data.
set -eu
umask 077
options=${DATA:=/data}/options.json
dir=$DATA/promptmq
ours=$DATA/logins # the users that are from the options

mkdir -p "$dir"
jq '{storage: {"data-dir": $dir}, log: {level: .log_level, format: "console"}, auth: {"allow-anonymous": .anonymous}}' \
	--arg dir "$dir" "$options" >"$DATA/promptmq.yaml" # JSON is YAML

# user NAME PASSWORD: there is such a user, with that password.
user() {
	printf '%s\n' "$2" | promptmq user add "$1" --data-dir "$dir" --password-stdin >/dev/null 2>&1 ||
		printf '%s\n' "$2" | promptmq user passwd "$1" --data-dir "$dir" --password-stdin >/dev/null
}

# users has the users of the options in the broker, and no others that were once.
users() {
	jq -r '.logins[].username' "$options" >"$ours.new"
	if [ -f "$ours" ]; then
		grep -vxFf "$ours.new" "$ours" | while read -r name; do promptmq user delete "$name" --data-dir "$dir"; done
	fi
	mv "$ours.new" "$ours"
	n=$(jq '.logins | length' "$options")
	while [ "$n" -gt 0 ]; do
		n=$((n - 1))
		user "$(jq -r ".logins[$n].username" "$options")" "$(jq -r ".logins[$n].password" "$options")"
	done
}

# introduce has Home Assistant log in with a user of its own, where a Supervisor is.
introduce() {
	[ -s "$DATA/own" ] || head -c 24 /dev/urandom | base64 >"$DATA/own"
	user homeassistant "$(cat "$DATA/own")"
	jq -n --arg host "$(hostname)" --arg password "$(cat "$DATA/own")" '{host: $host, port: 1883, ssl: false, protocol: "3.1.1", username: "homeassistant", password: $password}' |
		curl -fsS -X POST -H "Authorization: Bearer $SUPERVISOR_TOKEN" -H 'Content-Type: application/json' -d @- http://supervisor/services/mqtt >/dev/null ||
		echo "Home Assistant could not be told of the broker" >&2
}

(
	until promptmq health --data-dir "$dir" >/dev/null 2>&1; do sleep 1; done
	users
	[ -z "${SUPERVISOR_TOKEN:-}" ] || introduce
) &
exec promptmq server --config "$DATA/promptmq.yaml" "$@"
