package conformance

var toolTests = []test{}
