#compdef edgenetctl
# Completion of edgenetctl for zsh: source <(edgenetctl completion zsh)
# or write it to a file _edgenetctl in a directory of $fpath.
_edgenetctl() {
	local -a candidates
	candidates=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	candidates=("${(@)candidates:#}")
	if (( ${#candidates} )); then
		compadd -- "${candidates[@]}"
	else
		_files
	fi
}
if [[ ${funcstack[1]} == _edgenetctl ]]; then
	_edgenetctl "$@"
else
	compdef _edgenetctl edgenetctl
fi
