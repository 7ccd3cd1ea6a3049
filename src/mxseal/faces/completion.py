"""Scripts that make bash, zsh and fish complete `mxseal`: they ask the running gateway for the words."""

from __future__ import annotations

BASH = r"""# bash completion of mxseal:  source <(mxseal completion bash)
_mxseal() {
    local kind value rest
    COMPREPLY=()
    while IFS=$'\t' read -r kind value rest; do
        if [ "$kind" = file ]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r value; do COMPREPLY+=("$value"); done \
                < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
        else
            COMPREPLY+=("$(printf '%q' "$value")")
        fi
    done < <(mxseal _complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _mxseal mxseal
"""

ZSH = r"""#compdef mxseal
# zsh completion of mxseal:  source <(mxseal completion zsh)
_mxseal() {
    local kind value rest
    local -a words_found
    while IFS=$'\t' read -r kind value rest; do
        if [[ $kind == file ]]; then _files; else words_found+=("${value//:/\\:}:$rest"); fi
    done < <(mxseal _complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#words_found )) && _describe mxseal words_found
}
compdef _mxseal mxseal
"""

FISH = r"""# fish completion of mxseal:  mxseal completion fish | source
function __mxseal_words
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    mxseal _complete $before[2..-1] "$current" 2>/dev/null | while read -l -d \t kind value rest
        if test "$kind" = file
            __fish_complete_path "$current"
        else
            printf '%s\t%s\n' $value $rest
        end
    end
end
complete -c mxseal -f -a '(__mxseal_words)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
