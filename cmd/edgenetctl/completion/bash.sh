# Completion of edgenetctl for bash: source <(edgenetctl completion bash)
_edgenetctl() {
	local line=${COMP_LINE:0:COMP_POINT} words current head i
	read -ra words <<<"$line"
	if [[ $line == *[[:space:]] ]]; then
		words+=("")
	fi
	current=${words[${#words[@]} - 1]}
	COMPREPLY=()
	while IFS= read -r i; do
		COMPREPLY+=("$i")
	done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
	# readline replaces only what stands behind the last : or =
	if [[ $current == *[:=]* ]]; then
		head=${current%"${current##*[:=]}"}
		COMPREPLY=("${COMPREPLY[@]#"$head"}")
	fi
}
complete -o default -F _edgenetctl edgenetctl
