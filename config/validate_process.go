package config

import (
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// The range of oom_score_adj, from never to first.
const (
	leastOOMScore = -1000
	mostOOMScore  = 1000
)

// kubeletProcess checks what the loop is to be among the processes of the host.
func (v *validator) kubeletProcess(k *kubeletv1beta1.KubeletConfiguration) {
	score := value(k.OOMScoreAdj)
	v.check(score >= leastOOMScore && score <= mostOOMScore, kindKubelet, "oomScoreAdj",
		strconv.Itoa(int(score))+" is not between -1000 and 1000")
	v.oneOf(kindKubelet, "logging.format", k.Logging.Format, "", logsapi.DefaultLogFormat, logsapi.JSONLogFormat)
}

// kubeletLogsDir checks where the logs of containers go. The path is in names that
// engines and log shippers read.
func (v *validator) kubeletLogsDir(k *kubeletv1beta1.KubeletConfiguration) {
	dir := k.PodLogsDir
	if dir == "" {
		return
	}
	v.absolute(kindKubelet, "podLogsDir", dir)
	v.check(dir == filepath.Clean(dir), kindKubelet, "podLogsDir", strconv.Quote(dir)+" is not as short as it can be", "write it as "+filepath.Clean(dir))
	ascii := !strings.ContainsFunc(dir, func(r rune) bool { return r > unicode.MaxASCII })
	v.check(ascii, kindKubelet, "podLogsDir", strconv.Quote(dir)+" has characters that are not ASCII")
}
