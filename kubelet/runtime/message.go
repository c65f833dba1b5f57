package runtime

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Limits of the API for termination messages.
const (
	maxMessageBytes    = 4096
	maxMessageLogBytes = 2048
	maxMessageLogLines = 80
)

// terminationMessage returns what an exited container had to say: what the
// runtime says of it, then what the container wrote to its termination log, or
// else, if it failed and its policy asks for it, the end of its log.
func terminationMessage(s *cri.ContainerStatus) string {
	message := readTerminationLog(s)
	fallback := s.Annotations[pod.AnnotationTerminationPolicy] == string(v1.TerminationMessageFallbackToLogsOnError)
	if message == "" && s.ExitCode != 0 && fallback {
		message = logTail(s.LogPath)
	}
	switch {
	case s.Message == "":
		return message
	case message == "":
		return s.Message
	default:
		return s.Message + ": " + message
	}
}

// readTerminationLog reads the file that was mounted for the message.
func readTerminationLog(s *cri.ContainerStatus) string {
	target := s.Annotations[pod.AnnotationTerminationMessagePath]
	if target == "" {
		return ""
	}
	for _, m := range s.Mounts {
		if m.ContainerPath == target {
			data, err := readEnd(m.HostPath, maxMessageBytes)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Sprintf("Error on reading termination log %s: %v", m.HostPath, err)
			}
			return string(data)
		}
	}
	return ""
}

// readEnd reads at most the last n bytes of a regular file. The container may
// have put anything in its place, so nothing else is opened.
func readEnd(path string, n int64) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if _, err := f.Seek(max(fi.Size()-n, 0), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, n))
}

// logTail returns the last lines of a container's log, or "".
func logTail(path string) string {
	// Beside its content each line has a time stamp, a stream and a tag.
	const overhead = 64
	data, err := readEnd(path, maxMessageLogBytes+overhead*maxMessageLogLines)
	if err != nil {
		return ""
	}
	var lines []string
	var line strings.Builder
	for raw := range strings.Lines(string(data)) {
		content, complete, ok := parseLogLine(raw)
		if !ok {
			continue // cut off at its start
		}
		if line.WriteString(content); complete {
			line.WriteByte('\n')
			lines = append(lines, line.String())
			line.Reset()
		}
	}
	lines = append(lines, line.String())
	text := strings.Join(lines[max(len(lines)-maxMessageLogLines-1, 0):], "")
	return text[max(len(text)-maxMessageLogBytes, 0):]
}

// parseLogLine takes a line of the CRI log format apart:
// "2016-10-06T00:17:09.669794202Z stdout F content".
func parseLogLine(raw string) (content string, complete, ok bool) {
	parts := strings.SplitN(strings.TrimSuffix(raw, "\n"), " ", 4)
	if len(parts) < 4 || (parts[1] != "stdout" && parts[1] != "stderr") {
		return "", false, false
	}
	tag, _, _ := strings.Cut(parts[2], ":")
	return parts[3], tag == "F", true
}
