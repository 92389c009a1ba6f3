# Root in the guest changes what Claude Code and VS Code of the host obey and was there at the start.
# Must: refused.
### root
fails sh -c 'echo evil >.vscode/settings.json'
fails touch .vscode/tasks.json
fails mv .vscode away
### host
[ "$(cat .vscode/settings.json)" = '{}' ]
