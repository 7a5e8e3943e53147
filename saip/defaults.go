package saip

// The file templates of TCA eUICC Profile Package 3.3.1, annex A: what a file is
// when its profile element does not say. The order of the lines is the order of
// the components, and so their tags: the first has [2]. Identifiers and sizes
// are those of ETSI TS 102 221, 3GPP TS 31.102 and 31.103.
//
// Each line: component, file identifier, type (Dedicated, Application,
// Transparent, Linear, Cyclic, Ber-tlv), size or records x length, short
// identifier, access rule of annex A, default content. A dash leaves it to the
// package; a question mark is a size that this program has no authority for (the
// files of CSIM), so that it takes what the content fills. Sizes with slashes belong to the first, second, third version of the
// template. In contents a star repeats the octet before it (or after, when it
// comes first) and braces repeat everything.
var templateText = map[Kind]string{
	KindMF: `
mf 3F00 D - - 14 -
ef-pl 2F05 T 2 05 1 FF*
ef-iccid 2FE2 T 10 02 11 -
ef-dir 2F00 L - 1E 10 -
ef-arr 2F06 L - 06 10 -
ef-umpc 2F08 T 5 08 10 -
`,
	KindCD: `
df-cd 7F11 D - - 14 -
ef-launchpad 6F01 T - - 2 -
ef-icon 6F40 T - - 2 -
`,
	KindTelecom: `
df-telecom 7F10 D - - 14 -
ef-arr 6F06 L - - 10 -
ef-rma 6F53 L - - 3 -
ef-sume 6F54 T 22 - 3 -
ef-ice-dn 6FE0 L 50x24 - 9 FF*
ef-ice-ff 6FE1 L - - 9 FF*
ef-psismsc 6FE5 L - - 5 -
df-graphics 5F50 D - - 14 -
ef-img 4F20 L - - 2 00FF*
ef-iidf - T - - 2 FF*
ef-ice-graphics 4F21 B - - 9 -
ef-launch-scws 4F01 T - - 10 -
ef-icon - T - - 10 -
df-phonebook 5F3A D - - 14 -
ef-pbr 4F30 L - - 2 -
ef-ext1 - L -x13 - 5 00FF*
ef-aas - L - - 5 FF*
ef-gas - L - - 5 FF*
ef-psc 4F22 T 4 - 5 00*
ef-cc 4F23 T 2 - 5 00*
ef-puid 4F24 T 2 - 5 00*
ef-iap - L - - 5 FF*
ef-adn - L - - 5 FF*
ef-pbc - L -x2 - 5 00*
ef-anr - L - - 5 FF*
ef-puri - L - - 5 -
ef-email - L - - 5 FF*
ef-sne - L - - 5 FF*
ef-uid - L -x2 - 5 00*
ef-grp - L - - 5 00*
ef-ccp1 - L - - 5 FF*
df-multimedia 5F3B D - - 14 -
ef-mml 4F47 B - - 5 -
ef-mmdf 4F48 B - - 5 -
df-mmss 5F3C D - - 14 -
ef-mlpl 4F20 T - 01 2 -
ef-mspl 4F21 T - 02 2 -
ef-mmssmode 4F22 T 1 03 2 -
df-mcs 5F3D D - - 14 -
ef-mst 4F01 T - 01 2 -
ef-mcs-config 4F02 B - 02 2 -
df-v2x 5F3E D - - 14 -
ef-vst 4F01 T - 01 2 -
ef-v2x-config 4F02 B - 02 2 -
ef-v2xp-pc5 4F03 T - - 2 -
ef-v2xp-Uu 4F04 T - - 2 -
`,
	KindUSIM: `
adf-usim - A - - 14 -
ef-imsi 6F07 T 9 07 2 -
ef-arr 6F06 L - 17 10 -
ef-keys 6F08 T 33 08 5 07FF*
ef-keysPS 6F09 T 33 09 5 07FF*
ef-hpplmn 6F31 T 1 12 2 0A
ef-ust 6F38 T 14/17 04 2 -
ef-fdn 6F3B L 20x26 - 8 FF*
ef-sms 6F3C L 10x176 - 5 00FF*
ef-smsp 6F42 L 1x38 - 5 FF*
ef-smss 6F43 T 2 - 5 FF*
ef-spn 6F46 T 17 - 10 -
ef-est 6F56 T 1 05 8 -
ef-start-hfn 6F5B T 6 0F 5 F00000F00000
ef-threshold 6F5C T 3 10 2 FF*
ef-psloci 6F73 T 14 0C 5 FFFFFFFFFFFFFFFFFFFF0000FF01
ef-acc 6F78 T 2 06 2 -
ef-fplmn 6F7B T 12 0D 5 FF*
ef-loci 6F7E T 11 0B 5 FFFFFFFFFFFFFF0000FF01
ef-ad 6FAD T 4 03 10 00000002
ef-ecc 6FB7 L 1x4 01 10 -
ef-netpar 6FC4 T 128 - 5 FF*
ef-epsloci 6FE3 T 18 1E 5 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF000001
ef-epsnsc 6FE4 L 1x80 18 5 FF*
`,
	KindOptUSIM: `
ef-li 6F05 T 6 02 1 FF*
ef-acmax 6F37 T 3 - 5 00*
ef-acm 6F39 C 1x3 - 7 00*
ef-gid1 6F3E T 8 - 2 -
ef-gid2 6F3F T 8 - 2 -
ef-msisdn 6F40 L 1x24 - 2 FF*
ef-puct 6F41 T 5 - 5 FFFFFF0000
ef-cbmi 6F45 T 10 - 5 FF*
ef-cbmid 6F48 T 10 0E 2 FF*
ef-sdn 6F49 L 10x24 - 2 FF*
ef-ext2 6F4B L 10x13 - 8 00FF*
ef-ext3 6F4C L 10x13 - 2 00FF*
ef-cbmir 6F50 T 20 - 5 FF*
ef-plmnwact 6F60 T 40 0A 5 {FFFFFF0000}
ef-oplmnwact 6F61 T 40 11 2 {FFFFFF0000}
ef-hplmnwact 6F62 T 5 13 2 {FFFFFF0000}
ef-dck 6F2C T 16 - 5 FF*
ef-cnl 6F32 T 30 - 2 FF*
ef-smsr 6F47 L 10x30 - 5 00FF*
ef-bdn 6F4D L 10x25 - 8 FF*
ef-ext5 6F4E L 10x13 - 5 00FF*
ef-ccp2 6F4F L 5x15 16 5 FF*
ef-ext4 6F55 L 10x13 - 8 00FF*
ef-acl 6F57 T 101 - 8 00FF*
ef-cmi 6F58 L 10x11 - 2 FF*
ef-ici 6F80 C 20x38 14 5 *FF0000000001FFFF
ef-oci 6F81 C 20x37 15 5 *FF00000001FFFF
ef-ict 6F82 C 1x3 - 7 00*
ef-oct 6F83 C 1x3 - 7 00*
ef-vgcs 6FB1 T 20 - 2 -
ef-vgcss 6FB2 T 7 - 5 -
ef-vbs 6FB3 T 20 - 2 -
ef-vbss 6FB4 T 7 - 5 -
ef-emlpp 6FB5 T 2 - 2 -
ef-aaem 6FB6 T 1 - 5 00
ef-hiddenkey 6FC3 T 4 - 5 FF*
ef-pnn 6FC5 L 10x16 19 10 -
ef-opl 6FC6 L 5x8 1A 10 -
ef-mbdn 6FC7 L 3x24 - 5 -
ef-ext6 6FC8 L 10x13 - 5 00FF*
ef-mbi 6FC9 L 10x5 - 5 -
ef-mwis 6FCA L 10x6 - 5 00*
ef-cfis 6FCB L 10x16 - 5 0100FF*
ef-ext7 6FCC L 10x13 - 5 00FF*
ef-spdi 6FCD T 17 1B 2 -
ef-mmsn 6FCE L 10x6 - 5 000000FF*
ef-ext8 6FCF L 10x13 - 5 00FF*
ef-mmsicp 6FD0 T 100 - 2 FF*
ef-mmsup 6FD1 L - - 5 FF*
ef-mmsucp 6FD2 T 100 - 5 FF*
ef-nia 6FD3 L 5x11 - 2 FF*
ef-vgcsca 6FD4 T - - 2 00*
ef-vbsca 6FD5 T - - 2 00*
ef-gbabp 6FD6 T - - 5 FF*
ef-msk 6FD7 L - - 2 FF*
ef-muk 6FD8 L - - 2 FF*
ef-ehplmn 6FD9 T 15 1D 2 FF*
ef-gbanl 6FDA L - - 2 FF*
ef-ehplmnpi 6FDB T 1 - 2 00
ef-lrplmnsi 6FDC T 1 - 2 00
ef-nafkca 6FDD L - - 2 FF*
ef-spni 6FDE T - - 10 00FF*
ef-pnni 6FDF L - - 10 00FF*
ef-ncp-ip 6FE2 L - - 2 -
ef-ufc 6FE6 T 30 - 10 801E60C01E900080040000000000000000F0000000004000000000000080
ef-nasconfig 6FE8 T 18 - 2 -
ef-uicciari 6FE7 L - - 2 -
ef-pws 6FEC T - - 10 -
ef-fdnuri 6FED L - - 8 FF*
ef-bdnuri 6FEE L - - 8 FF*
ef-sdnuri 6FEF L - - 2 FF*
ef-ial 6FF0 L - - 3 FF*
ef-ips 6FF1 C -x4 - 10 FF*
ef-ipd 6FF2 L - - 3 FF*
ef-epdgid 6FF3 T - - 2 -
ef-epdgselection 6FF4 T - - 2 -
ef-epdgidem 6FF5 T - - 2 -
ef-epdgselectionem 6FF6 T - - 2 -
ef-frompreferred 6FF7 T 1 - 2 00
ef-imsconfigdata 6FF8 B - - 2 -
ef-3gpppsdataoff 6FF9 T 4 - 2 -
ef-3gpppsdataoffservicelist 6FFA L - - 2 -
ef-xcapconfigdata 6FFC B - - 2 -
ef-earfcnlist 6FFD T - - 10 -
ef-mudmidconfigdata 6FFE B - - 2 -
ef-eaka - T - - 5 -
`,
	KindISIM: `
adf-isim - A - - 14 -
ef-impi 6F02 T - 02 2 -
ef-impu 6F04 L 1x- 04 2 -
ef-domain 6F03 T - 05 2 -
ef-ist 6F07 T 14 07 2 -
ef-ad 6FAD T 3 03 10 000000
ef-arr 6F06 L - 06 10 -
`,
	KindOptISIM: `
ef-pcscf 6F09 L 1x- - 2 -
ef-sms 6F3C L 10x176 - 5 00FF*
ef-smsp 6F42 L 1x38 - 5 FF*
ef-smss 6F43 T 2 - 5 FF*
ef-smsr 6F47 L 10x30 - 5 00FF*
ef-gbabp 6FD5 T - - 5 FF*
ef-gbanl 6FD7 L - - 2 FF*
ef-nafkca 6FDD L - - 2 FF*
ef-uicciari 6FE7 L - - 2 -
ef-frompreferred 6FF7 T 1 - 2 00
ef-imsconfigdata 6FF8 B - - 2 -
ef-xcapconfigdata 6FFC B - - 2 -
ef-webrtcuri 6FFA L - - 2 -
ef-mudmidconfigdata 6FFE B - - 2 -
`,
	KindPhonebook: `
df-phonebook 5F3A D - - 14 -
ef-pbr 4F30 L - - 2 -
ef-ext1 - L -x13 - 5 00FF*
ef-aas - L - - 5 FF*
ef-gas - L - - 5 FF*
ef-psc 4F22 T 4 - 5 00*
ef-cc 4F23 T 2 - 5 00*
ef-puid 4F24 T 2 - 5 00*
ef-iap - L - - 5 FF*
ef-adn - L - - 5 FF*
ef-pbc - L -x2 - 5 00*
ef-anr - L - - 5 FF*
ef-puri - L - - 5 -
ef-email - L - - 5 FF*
ef-sne - L - - 5 FF*
ef-uid - L -x2 - 5 00*
ef-grp - L - - 5 00*
ef-ccp1 - L - - 5 FF*
`,
	KindGSMAccess: `
df-gsm-access 5F3B D - - 14 -
ef-kc 4F20 T 9 01 5 FFFFFFFFFFFFFFFF07
ef-kcgprs 4F52 T 9 02 5 FFFFFFFFFFFFFFFF07
ef-cpbcch 4F63 T 10 - 5 FF*
ef-invscan 4F64 T 1 - 2 00
`,
	KindCSIM: `
adf-csim - A - - 14 -
ef-arr - T ? - - -
ef-call-count - T ? - - -
ef-imsi-m - T ? - - -
ef-imsi-t - T ? - - -
ef-tmsi - T ? - - -
ef-ah - T ? - - -
ef-aop - T ? - - -
ef-aloc - T ? - - -
ef-cdmahome - T ? - - -
ef-znregi - T ? - - -
ef-snregi - T ? - - -
ef-distregi - T ? - - -
ef-accolc - T ? - - -
ef-term - T ? - - -
ef-acp - T ? - - -
ef-prl - T ? - - -
ef-ruimid - T ? - - -
ef-csim-st - T ? - - -
ef-spc - T ? - - -
ef-otapaspc - T ? - - -
ef-namlock - T ? - - -
ef-ota - T ? - - -
ef-sp - T ? - - -
ef-esn-meid-me - T ? - - -
ef-li - T ? - - -
ef-usgind - T ? - - -
ef-ad - T ? - - -
ef-max-prl - T ? - - -
ef-spcs - T ? - - -
ef-mecrp - T ? - - -
ef-home-tag - T ? - - -
ef-group-tag - T ? - - -
ef-specific-tag - T ? - - -
ef-call-prompt - T ? - - -
`,
	KindOptCSIM: `
ef-ssci - T ? - - -
ef-fdn - T ? - - -
ef-sms - T ? - - -
ef-smsp - T ? - - -
ef-smss - T ? - - -
ef-ssfc - T ? - - -
ef-spn - T ? - - -
ef-mdn - T ? - - -
ef-ecc - T ? - - -
ef-me3gpdopc - T ? - - -
ef-3gpdopm - T ? - - -
ef-sipcap - T ? - - -
ef-mipcap - T ? - - -
ef-sipupp - T ? - - -
ef-mipupp - T ? - - -
ef-sipsp - T ? - - -
ef-mipsp - T ? - - -
ef-sippapss - T ? - - -
ef-puzl - T ? - - -
ef-maxpuzl - T ? - - -
ef-hrpdcap - T ? - - -
ef-hrpdupp - T ? - - -
ef-csspr - T ? - - -
ef-atc - T ? - - -
ef-eprl - T ? - - -
ef-bcsmscfg - T ? - - -
ef-bcsmspref - T ? - - -
ef-bcsmstable - T ? - - -
ef-bcsmsp - T ? - - -
ef-bakpara - T ? - - -
ef-upbakpara - T ? - - -
ef-mmsn - T ? - - -
ef-ext8 - T ? - - -
ef-mmsicp - T ? - - -
ef-mmsup - T ? - - -
ef-mmsucp - T ? - - -
ef-auth-capability - T ? - - -
ef-3gcik - T ? - - -
ef-dck - T ? - - -
ef-gid1 - T ? - - -
ef-gid2 - T ? - - -
ef-cdmacnl - T ? - - -
ef-sf-euimid - T ? - - -
ef-est - T ? - - -
ef-hidden-key - T ? - - -
ef-lcsver - T ? - - -
ef-lcscp - T ? - - -
ef-sdn - T ? - - -
ef-ext2 - T ? - - -
ef-ext3 - T ? - - -
ef-ici - T ? - - -
ef-oci - T ? - - -
ef-ext5 - T ? - - -
ef-ccp2 - T ? - - -
ef-applabels - T ? - - -
ef-model - T ? - - -
ef-rc - T ? - - -
ef-smscap - T ? - - -
ef-mipflags - T ? - - -
ef-3gpduppext - T ? - - -
ef-ipv6cap - T ? - - -
ef-tcpconfig - T ? - - -
ef-dgc - T ? - - -
ef-wapbrowsercp - T ? - - -
ef-wapbrowserbm - T ? - - -
ef-mmsconfig - T ? - - -
ef-jdl - T ? - - -
`,
	KindEAP: `
df-eap - D - - 14 -
ef-eapkeys 4F01 T - - 2 -
ef-eapstatus 4F02 T 1 - 2 00
ef-puid 4F03 T - - 2 -
ef-ps 4F04 T - - 5 FF*
ef-curid 4F20 T - - 5 FF*
ef-reid 4F21 T - - 5 -
ef-realm 4F22 T - - 5 -
`,
	KindDF5GS: `
df-df-5gs 5FC0 D - - 14 -
ef-5gs3gpploci 4F01 T 20 01 5 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000001
ef-5gsn3gpploci 4F02 T 20 02 5 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000001
ef-5gs3gppnsc 4F03 L 1x57/1x57/2x62 03 5 FF*
ef-5gsn3gppnsc 4F04 L 1x57/1x57/2x62 04 5 FF*
ef-5gauthkeys 4F05 T 110 05 5 -
ef-uac-aic 4F06 T 4 06 2 -
ef-suci-calc-info 4F07 T - 07 2 FF*
ef-opl5g 4F08 L -x10 08 10 FF*
ef-supinai 4F09 T - 09 2 -
ef-routing-indicator 4F0A T 4 0A 2 F0FFFFFF
ef-ursp 4F0B B - - 2 -
ef-tn3gppsnn 4F0C T 1 0C 2 00
ef-cag 4F0D T - 0D 2 -
ef-sor-cmci 4F0E T - 0E 2 -
ef-dri 4F0F T 7 0F 2 -
ef-5gsedrx 4F10 T 2 10 2 -
ef-5gnswo-conf 4F11 T 1 11 2 -
ef-mchpplmn 4F15 T 1 15 2 -
ef-kausf-derivation 4F16 T 1 16 2 -
`,
	KindDFSAIP: `
df-df-saip 5FD0 D - - 14 -
ef-suci-calc-info-usim 4F01 T - - 3 FF*
`,
	KindDFSNPN: `
df-df-snpn 5FE0 D - - 14 -
ef-pws-snpn 4F01 T 1 - 2 -
`,
	KindDF5GProSe: `
df-df-5g-prose 5FF0 D - - 14 -
ef-5g-prose-st 4F01 T - 01 2 -
ef-5g-prose-dd 4F02 T - 02 2 -
ef-5g-prose-dc 4F03 T - 03 2 -
ef-5g-prose-u2nru 4F04 T - 04 2 -
ef-5g-prose-ru 4F05 T - 05 2 -
ef-5g-prose-uir 4F06 T - 06 2 -
`,
	KindIoT: `
mf 3F00 D - - 14 -
ef-pl 2F05 T 2 05 1 FF*
ef-iccid 2FE2 T 10 02 11 -
ef-dir 2F00 L - 1E 10 -
ef-arr 2F06 L - - 10 -
ef-umpc 2F08 T 5 08 10 -
adf-usim - A - - 14 -
ef-imsi 6F07 T 9 07 2 -
ef-arr-usim 6F06 L - 17 10 -
ef-keys 6F08 T 33 08 5 07FF*
ef-keysPS 6F09 T 33 09 5 07FF*
ef-hpplmn 6F31 T 1 12 2 0A
ef-ust 6F38 T 14/17 04 2 -
ef-start-hfn 6F5B T 6 0F 5 F00000F00000
ef-threshold 6F5C T 3 10 2 FF*
ef-psloci 6F73 T 14 0C 5 FFFFFFFFFFFFFFFFFFFF0000FF01
ef-acc 6F78 T 2 06 2 -
ef-fplmn 6F7B T 12 0D 5 FF*
ef-loci 6F7E T 11 0B 5 FFFFFFFFFFFFFF0000FF01
ef-ad 6FAD T 4 03 10 00000002
ef-ecc 6FB7 L 1x4 01 10 -
ef-netpar 6FC4 T 128 - 5 FF*
`,
	KindOptIoT: `
ef-fdn 6F3B L 20x26 - 8 FF*
ef-sms 6F3C L 10x176 - 5 00FF*
ef-smsp 6F42 L 1x38 - 5 FF*
ef-smss 6F43 T 2 - 5 FF*
ef-spn 6F46 T 17 - 10 -
ef-est 6F56 T 1 05 8 -
ef-oplmnwact 6F61 T 40 11 2 {FFFFFF0000}
ef-hplmnwact 6F62 T 5 13 2 {FFFFFF0000}
ef-ehplmn 6FD9 T 15 1D 2 FF*
ef-epsloci 6FE3 T 18 1E 5 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFF000001
ef-epsnsc 6FE4 L 1x80 18 5 FF*
df-df-5gs 5FC0 D - - 14 -
ef-5gs3gpploci 4F01 T 20 01 5 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000001
ef-5gsn3gpploci 4F02 T 20 02 5 FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000001
ef-5gs3gppnsc 4F03 L 1x57/1x57/2x62 03 5 FF*
ef-5gsn3gppnsc 4F04 L 1x57/1x57/2x62 04 5 FF*
ef-5gauthkeys 4F05 T 110 05 5 -
ef-uac-aic 4F06 T 4 06 2 -
ef-suci-calc-info 4F07 T - 07 2 FF*
ef-opl5g 4F08 L -x10 08 10 FF*
ef-supi-nai 4F09 T - 09 2 -
ef-routing-indicator 4F0A T 4 0A 2 F0FFFFFF
ef-ursp 4F0B B - - 2 -
ef-tn3gppsnn 4F0C T 1 0C 2 00
df-df-saip 5FD0 D - - 14 -
ef-suci-calc-info-usim 4F01 T - - 3 FF*
`,
}
