# sallyctl(1) for bash: commands and options are asked of the program itself, so
# that what it learns is known here, too.

_sallyctl_commands() {
	"$1" --help 2>/dev/null | sed -n '/^commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'
}

_sallyctl_options() {
	"$1" "$2" --help 2>/dev/null |
		sed -n '/^options:/,$s/^  \(-[a-z], \)\{0,1\}\(--[a-z][a-z-]*\).*/\2/p'
}

# The names of the rules in the file that -c names.
_sallyctl_rules() {
	"$1" show ${2:+-c "$2"} 2>/dev/null | sed -n 's/^\([A-Za-z][-A-Za-z0-9_]*\)  (.*/\1/p'
}

_sallyctl_tables() {
	"$1" table list ${2:+-c "$2"} 2>/dev/null | sed -n 's/^\([A-Za-z][-A-Za-z0-9_]*\)  .*/\1/p'
}

_sallyctl() {
	local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} file='' words='' i
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_sallyctl_commands "$program") --help --version" -- "$word")
		return
	fi
	for ((i = 2; i + 1 < ${#COMP_WORDS[@]}; i++)); do
		case ${COMP_WORDS[i]} in -c | --config) file=${COMP_WORDS[i + 1]} ;; esac
	done
	case $before in
	-c | --config | --batch)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return ;;
	--auth) words='pam file gssapi chap ident userid' ;;
	--command) words='connect bind udp-associate' ;;
	--version) words='4 5' ;;
	esac
	if [ -z "$words" ] && [ "${word#-}" != "$word" ]; then
		words=$(_sallyctl_options "$program" "$command")
	elif [ -z "$words" ]; then
		case $command in
		help) words=$(_sallyctl_commands "$program") ;;
		verify)
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return ;;
		show) words=$(_sallyctl_rules "$program" "$file") ;;
		settings) words=$("$program" settings 2>/dev/null | sed -n 's/^\([a-z][a-z.-]*\)  .*/\1/p') ;;
		table)
			case $before in
			table) words='list test replace' ;;
			test | replace) words=$(_sallyctl_tables "$program" "$file") ;;
			*)
				mapfile -t COMPREPLY < <(compgen -f -- "$word")
				return ;;
			esac ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _sallyctl sallyctl
