package mosquitto

// A Conf is what a mosquitto.conf says.
type Conf struct {
	Report *Report
}

// ReadConf reads a mosquitto.conf, and the files that it includes.
func ReadConf(file string) (*Conf, error) {
	lines, err := readConfLines(file)
	if err != nil {
		return nil, err
	}
	c := &Conf{Report: new(Report)}
	for _, l := range lines {
		c.Report.Add(l.file, l.number, l.option, LeftOut, "it is not taken over yet")
	}
	return c, nil
}
