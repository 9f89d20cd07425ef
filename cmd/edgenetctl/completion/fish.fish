# Completion of edgenetctl for fish: edgenetctl completion fish | source
function __edgenetctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] __complete $words[2..-1] "$current" 2>/dev/null
end
complete -c edgenetctl -f -a '(__edgenetctl_complete)'
