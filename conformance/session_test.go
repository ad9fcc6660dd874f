package conformance

var sessionTests = []test{}
