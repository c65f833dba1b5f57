package service

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// An Installation is how the loop of this host is run.
type Installation struct {
	Executable string   `json:"executable"` // file of the program
	Args       []string `json:"args"`       // without SuperviseFlag
}

// ErrNotInstalled reports a host whose loop no service manager and no supervisor
// keeps running.
var ErrNotInstalled = errors.New("the kubelet loop is no service of this host")

// Installed finds out how the loop of this host is run, by the service manager's
// own file or, where there is none, by the supervisor that runs. The error wraps
// [ErrNotInstalled] if it is not.
func Installed(o Options) (Installation, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Installation{}, err
	}
	kind, err := detect(o.root)
	if err != nil {
		return Installation{}, err
	}
	switch kind {
	case Systemd:
		return readService(systemd{o}.path(), systemdWords)
	case OpenRC:
		return readService(openrc{o}.path(), openrcWords)
	}
	return installedDetached(o)
}

// readService reads the file of a service. Words finds the command in it.
func readService(path string, words func(text string) []string) (Installation, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Installation{}, fmt.Errorf("%w: there is no %s", ErrNotInstalled, path)
	}
	if err != nil {
		return Installation{}, fmt.Errorf("read the service: %w", err)
	}
	found := words(string(text))
	if len(found) == 0 {
		return Installation{}, fmt.Errorf("read the service: %s does not tell what it runs", path)
	}
	return installation(found), nil
}

func installation(words []string) Installation {
	in := Installation{Executable: words[0]}
	for _, w := range words[1:] {
		if w != SuperviseFlag {
			in.Args = append(in.Args, w)
		}
	}
	return in
}

// systemdWords returns the command of a unit that boot wrote.
func systemdWords(text string) []string {
	line := valueOf(text, "ExecStart=")
	var words []string
	for line != "" {
		word, rest, ok := systemdUnquote(strings.TrimLeft(line, " "))
		if !ok {
			return nil
		}
		words, line = append(words, word), rest
	}
	return words
}

// systemdUnquote is the reverse of systemdQuote, for the first word of a line.
func systemdUnquote(line string) (word, rest string, ok bool) {
	if !strings.HasPrefix(line, `"`) {
		return "", "", false
	}
	for i := 1; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			word := strings.NewReplacer(`\\`, `\`, `\"`, `"`, `$$`, `$`, `%%`, `%`, `\n`, "\n").Replace(line[1:i])
			return word, line[i+1:], true
		}
	}
	return "", "", false
}

// openrcWords returns the command of a service that boot wrote.
func openrcWords(text string) []string {
	command, args := shellWords(valueOf(text, "command=")), shellWords(valueOf(text, "command_args="))
	if len(command) != 1 || len(args) != 1 {
		return nil
	}
	return append(command, shellWords(args[0])...)
}

// shellWords is the reverse of shellQuote, for words between blanks.
func shellWords(text string) []string {
	var words []string
	var word strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'':
			quoted, begun = !quoted, true
		case quoted:
			word.WriteByte(c)
		case c == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
		case c == ' ':
			if begun {
				words = append(words, word.String())
				word.Reset()
			}
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// valueOf returns what follows the first line that begins like this.
func valueOf(text, prefix string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), prefix); ok {
			return value
		}
	}
	return ""
}

// installedDetached asks the state of the supervisor.
func installedDetached(o Options) (Installation, error) {
	s, err := ReadState(o.RunDir)
	if err != nil {
		return Installation{}, err
	}
	if len(s.Args) == 0 || !s.Supervisor.Alive() {
		return Installation{}, fmt.Errorf("%w: no supervisor runs", ErrNotInstalled)
	}
	exe, err := s.Supervisor.Exe()
	if err != nil {
		return Installation{}, fmt.Errorf("find the program of the loop: %w", err)
	}
	return Installation{Executable: exe, Args: s.Args}, nil
}
