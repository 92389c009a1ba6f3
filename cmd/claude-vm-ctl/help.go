package main

// usageTemplate is for kingpin. A verb's help is put together from what it has
// declared; the program's own is written by hand, so that it fits a screen.
const usageTemplate = `{{if .Context.SelectedCommand}}{{with .Context.SelectedCommand -}}
usage: claude-vm-ctl {{.}}{{range .Args}} [{{.Name}}]{{end}}

{{.Help|Wrap 0}}{{range .Flags}}{{if not .Hidden}}
  {{if .Short}}-{{.Short|Char}}, {{end}}--{{.Name}}{{if not .IsBoolFlag}}={{or .PlaceHolder "VALUE"}}{{end}}
      {{.Help}}{{end}}{{end}}
{{end}}{{else}}` + programHelp + `{{end}}`

const programHelp = `usage: claude-vm-ctl VERB [DIR] [-- ARGUMENTS...]

Run Claude Code in a virtual machine that sees one directory. DIR is by default
the current one; its id or the name of its .vm file works as well.

  run       start the VM, attach to Claude Code, return its exit status;
            what follows -- are Claude's arguments       [--memory=4G ...]
  start     start the VM and leave Claude Code running in it
  attach    show Claude's terminal; press Ctrl-] three times to leave it running
  shell     open a shell in the running VM, or run what follows --     [--root]
  stop      shut the VM down; restart starts it anew, kill ends it at once
  list      list the VMs that run                    [--all] [--watch] [--json]
  status    show the VM's state and its newest log lines       [-n 5] [--json]
  logs      show the journal of the VM and its guest                       [-f]
  id        print the id of the directory, the escaped path            [--unit]
  edit      edit the directory's .vm file, its settings            [--defaults]
  generate  make the user manager know what the .vm files say       [--dry-run]
  doctor    check the machine and tell what mends it                   [--json]

  claude-vm-ctl run ~/src/web
  claude-vm-ctl run --memory 8G --publish 3000 . -- -p "fix the failing test"
  claude-vm-ctl shell . -- git diff

  -h, --help, also after a verb     --version     man claude-vm-ctl
`
