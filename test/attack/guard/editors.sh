# The guest plants files that editors run: tasks, debuggers, extensions.
# Must: the user is told of each.
### claude
plant .vscode/tasks.json a.code-workspace .idea/x .fleet/x .zed/x .devcontainer/x .devcontainer.json .vs/x
### host
reported .vscode a.code-workspace .idea .fleet .zed .devcontainer .devcontainer.json .vs
