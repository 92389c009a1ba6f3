package main

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/alecthomas/kingpin/v2"
)

// usageTemplate is a template for kingpin. The help of a verb is generated from its flags and
// arguments. The help of the program is written by hand, so that it fits on a screen.
const usageTemplate = `{{if .Context.SelectedCommand}}{{with .Context.SelectedCommand -}}
{{VerbUsage .}}

{{.Help|Wrap 0}}
{{VerbRest .}}{{end}}{{else}}` + programHelp + `{{end}}`

var usageFuncs = template.FuncMap{"VerbUsage": verbUsage, "VerbRest": verbRest}

// programHelp has at most 24 lines, the height of a terminal; a test checks this.
const programHelp = `usage: claude-vm-ctl [--help] [--version] VERB [OPTIONS] [DIR] [-- ARGUMENTS]

Run Claude Code in a VM that sees one directory: DIR, or else the current one.
DIR may also be the directory's id, or the name of its .vm file.

  run        start the VM, attach to Claude, exit with its status [--memory=4G]
  start      start the VM and leave Claude running in it
  attach     show Claude's terminal; Ctrl-] three times leaves it running
  shell      open a shell in the running VM, or run what follows --    [--root]
  stop       shut down the VM; restart restarts it; kill kills it at once
  forward    forward ports of this machine to the running VM         [--detach]
  network    show what the VM may connect to, or change it         [-f] [--json]
  guard      show what the VM changed that your programs run, or accept it
  ssh-config print the configuration for ssh, scp, git and editors
  list       list the running VMs                    [--all] [--watch] [--json]
  status     show the VM's state and newest log lines; logs shows all  [--json]
  id         print the directory's id, its escaped path                [--unit]
  edit       edit the directory's .vm file; generate applies the .vm files
  guest      build, list or remove guests made from container images    [--json]
  snapshot   list, make or remove the saved memory that VMs resume from [--json]
  login      sign in to Claude for all VMs; logout removes the login  [--status]
  doctor     check the machine, print fixes; uninstall removes the units

  claude-vm-ctl run --memory 8G --publish 3000 . -- -p "fix the failing test"
`

// describe adds examples, without "claude-vm-ctl ", to a verb's help. tail follows the
// verb's arguments in the usage line.
func describe(cmd *kingpin.CmdClause, tail string, examples ...string) {
	cmd.HelpLong(tail + "\n" + strings.Join(examples, "\n"))
}

// Columns of a verb's help.
const (
	screenWidth = 80
	helpColumn  = 22
)

func verbUsage(cmd *kingpin.CmdModel) string {
	usage := "usage: claude-vm-ctl " + cmd.FullCommand
	if len(cmd.Flags) > 0 {
		usage += " [OPTIONS]"
	}
	for _, arg := range cmd.Args {
		usage += " [" + strings.ToUpper(arg.Name) + "]"
	}
	if tail, _, _ := strings.Cut(cmd.HelpLong, "\n"); tail != "" {
		usage += " " + tail
	}
	return usage
}

// verbRest returns the options and the examples of a verb. An option has one line if it fits.
func verbRest(cmd *kingpin.CmdModel) string {
	var b strings.Builder
	for _, sub := range cmd.Commands {
		help, _, _ := strings.Cut(sub.Help, ". ")
		fmt.Fprintf(&b, "  %-8s %s\n", sub.Name, strings.TrimSuffix(help, "."))
	}
	for _, flag := range cmd.Flags {
		text := "  "
		if flag.Short != 0 {
			text += fmt.Sprintf("-%c, ", flag.Short)
		}
		text += "--" + flag.Name
		if !flag.IsBoolFlag() {
			text += "=" + flag.PlaceHolder
		}
		separator := "\n      "
		if n := helpColumn - len(text); n > 0 && helpColumn+len(flag.Help) <= screenWidth {
			separator = strings.Repeat(" ", n)
		}
		b.WriteString(text + separator + flag.Help + "\n")
	}
	if len(cmd.Flags)+len(cmd.Commands) > 0 {
		b.WriteString("\n")
	}
	_, examples, found := strings.Cut(cmd.HelpLong, "\n")
	if !found { // hidden
		return b.String()
	}
	for example := range strings.SplitSeq(examples, "\n") {
		b.WriteString("  claude-vm-ctl " + example + "\n")
	}
	return b.String()
}
